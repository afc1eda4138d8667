//! The words around a value that say what it is, in Vietnamese without diacritics and in English.
//!
//! Lists are parted by commas; of words that end at one place the longer one speaks.

use super::Kind;

/// How a word bears on the next number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) enum Bearing {
    /// It speaks for the kinds that it names.
    #[default]
    For,
    /// The number is of a kind that it names, or of none.
    Alone,
    /// The number is nothing personal.
    Against,
}

/// What a word says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Label {
    /// Kinds that it names outright, as bits.
    pub(super) strong: u32,
    /// Kinds that it could mean.
    pub(super) weak: u32,
    pub(super) bearing: Bearing,
    /// It is a surname as well.
    pub(super) surname: bool,
    /// It may open a part of a postal address.
    pub(super) address: bool,
}

impl Label {
    const AGAINST: Self = Self { bearing: Bearing::Against, ..Self::strong(0) };
    const UNIT: Self = Self { address: true, ..Self::strong(0) };
    pub(super) const SURNAME: Self = Self { surname: true, ..Self::strong(0) };

    const fn strong(bits: u32) -> Self {
        Self { strong: bits, weak: 0, bearing: Bearing::For, surname: false, address: false }
    }

    const fn weakly(self, bits: u32) -> Self {
        Self { weak: bits, ..self }
    }

    const fn alone(self) -> Self {
        Self { bearing: Bearing::Alone, ..self }
    }

    /// What a word says that stands in two lists.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            strong: self.strong | other.strong,
            weak: self.weak | other.weak,
            bearing: self.bearing.max(other.bearing),
            surname: self.surname || other.surname,
            address: self.address || other.address,
        }
    }
}

/// Folded words and what they say.
pub(super) const WORDS: [(Label, &str); 20] = [
    (
        Label::strong(Kind::Cccd.bit()).weakly(Kind::Cmnd.bit()),
        "cccd, can cuoc, cancuoc, can cuoc cong dan, dinh danh, dinh danh ca nhan, ddcn, citizen id, \
         citizenid, citizen identity, so cccd, can cuoc so, the can cuoc",
    ),
    (
        Label::strong(Kind::Cccd.bit() | Kind::Cmnd.bit()),
        "cmnd, cmt, cmtnd, chung minh, chung minh thu, chung minh nhan dan, giay to tuy than, cmnd cccd, \
         identity card, identity number, identity no, id card, id number, id no, idcard, national id, \
         nationalid, personal id, identification number, socccd, socmnd, so giay to, identitycard",
    ),
    (Label::strong(0).weakly(Kind::Cccd.bit() | Kind::Cmnd.bit()), "id, identity, identification, so id"),
    (
        Label::strong(Kind::Phone.bit()),
        "sdt, dt, dien thoai, dienthoai, sodienthoai, so dt, dtdd, di dong, didong, tel, telephone, phone, \
         phones, phonenumber, phoneno, mobile, mobileno, mobilephone, mob, cell, cellphone, msisdn, zalo, \
         viber, whatsapp, wa me, call, goi, alo, lien he, lienhe, lh, contact, sms, nhan tin, so may, may \
         ban, hotline, fax",
    ),
    (Label::strong(Kind::Email.bit()), "email, e mail, mail, emailaddress, thu dien tu, hop thu, gmail"),
    (
        Label::strong(Kind::TaxCode.bit()).alone(),
        "mst, ma so thue, masothue, mst ca nhan, mst cn, tax code, tax id, taxcode, taxid, tax number, tax \
         no, vat number, vat no, vat code",
    ),
    (
        Label::strong(Kind::SocialInsurance.bit()).alone(),
        "bhxh, bao hiem xa hoi, so bhxh, ma so bhxh, ma so bao hiem, so so bhxh, sobhxh, masobhxh, bhyt, bao \
         hiem y te, so bao hiem, social insurance, social insurance number, social insurance no, insurance \
         number, so so bao hiem",
    ),
    (
        Label::strong(Kind::Passport.bit()),
        "ho chieu, so ho chieu, hochieu, sohochieu, passport, passport no, passport number, passportno, pp no",
    ),
    (
        Label::strong(Kind::Plate.bit()),
        "bien so, bien so xe, bienso, biensoxe, bks, bien kiem soat, bsx, so xe, bien xe, plate, plate \
         number, plate no, license plate, licence plate, licenseplate, xe may bien, xe bien, vehicle \
         registration",
    ),
    (
        Label::strong(Kind::BankCard.bit()),
        "so the, sothe, the ngan hang, the tin dung, the ghi no, the atm, the visa, the mastercard, the \
         napas, the thanh toan, card, card no, card number, cardnumber, cardno, bank card, credit card, debit \
         card, creditcard, visa, mastercard, napas, pan, jcb, amex",
    ),
    (Label::strong(Kind::Iban.bit()), "iban"),
    (
        Label::strong(Kind::IpAddress.bit()),
        "ip, ip address, ipaddress, dia chi ip, client ip, remote addr, x forwarded for, host",
    ),
    (Label::strong(Kind::MacAddress.bit()), "mac, mac address, macaddress, dia chi mac, hwaddr, ether, bssid"),
    (
        Label::strong(Kind::Coordinates.bit()),
        "toa do, toado, gps, coordinates, coordinate, lat, latitude, latlng, latlong, vi do, vi tri, \
         location, geo, dinh vi",
    ),
    (
        Label::strong(Kind::BirthDate.bit()),
        "ngay sinh, ngaysinh, sinh ngay, nam sinh, sinh nam, ngay thang nam sinh, dob, date of birth, \
         dateofbirth, birth date, birthdate, birthday, birth, born, born on, sinh nhat, d o b, ns, nu sinh, \
         con sinh, chau sinh, be sinh",
    ),
    (
        Label::strong(Kind::PersonName.bit()),
        "ho ten, ho va ten, hoten, hovaten, ten khach hang, tenkhachhang, ten kh, ten day du, ten nguoi nhan, \
         ten benh nhan, nguoi nhan, nguoi gui, nguoi dai dien, nguoi lien he, chu tai khoan, chu the, full \
         name, fullname, customer name, customername, patient name, contact name, recipient, cardholder, \
         account holder, first name, last name, surname, khach hang ten, ten toi la, toi ten la, toi ten",
    ),
    (Label::strong(0).weakly(Kind::PersonName.bit()), "ten, name, ten nguoi dung, user name"),
    (
        Label::strong(Kind::PostalAddress.bit()),
        "dia chi, diachi, dia chi nha, dia chi giao hang, dia chi thuong tru, thuong tru, tam tru, noi o, cho \
         o, ho khau, noi thuong tru, noi cu tru, que quan, address, home address, shipping address, delivery \
         address, giao den, giao toi, giao hang den, dc, nha o, noi nhan, nguyen quan, nha toi o",
    ),
    (
        Label::AGAINST,
        "order, orders, order id, order no, order number, orderid, don hang, ma don, ma don hang, van don, ma \
         van don, tracking, tracking number, tracking no, invoice, invoice no, hoa don, so hoa don, giao \
         dich, ma giao dich, transaction, transaction id, txn, trace, trace id, reference, ref, ref no, tham \
         chieu, ma tham chieu, timestamp, version, phien ban, build, sku, barcode, ma vach, ma hang, ma san \
         pham, product, product id, serial, serial no, imei, so tai khoan, stk, tai khoan, account, account \
         no, account number, account id, hop dong, so hop dong, contract, price, amount, total, so tien, don \
         gia, gia ban, customer id, customerid, user id, userid, session id, request id, item id, offer id, \
         event id, ma loi, error, port, voucher, coupon, ma khach hang, ma kh, ticket, checksum, hash, uuid, \
         offset, revision, batch, lot, ngay cap, ngay het han, ngay dat, ngay giao, ngay tao, ngay ky, ngay \
         thanh lap, issued on, date of issue, expiry, expires, expiration, created at, updated at, due date, \
         het han, han su dung, hsd, nsx, ngay san xuat, ma so, ma lo, ma don vi, ma bai, isbn, ean, upc, ma \
         giam gia, firmware, kernel, ver, release, dung luong, so luong, quantity, qty, kich thuoc, ma phieu, \
         so phieu, so hieu, so seri, seri, phieu thu",
    ),
    (
        Label::UNIT,
        "so nha, duong, pho, to, ngo, ngach, hem, kiet, thon, xom, ap, khu pho, to dan pho, khu dan cu, khu do \
         thi, chung cu, toa nha, can ho, phuong, xa, thi tran, quan, huyen, thi xa, p, q, tt, quoc lo, tinh \
         lo, dai lo",
    ),
];
