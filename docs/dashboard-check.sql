-- What the dashboard reads of WHMCS's tables. Run it in WHMCS's database (phpMyAdmin will do): it only looks. No row
-- means that all of it is there; a row names a table, what is wanted of it and what was found.
SELECT w.name AS lacking, w.wanted, GROUP_CONCAT(i.column_name) AS found FROM (
  SELECT 'tblaccounts' AS name, 'amountin,amountout,date,gateway,id,invoiceid,refundid,userid' AS wanted
  UNION ALL SELECT 'tbladdonmodules', 'module,setting,value'
  UNION ALL SELECT 'tbladdons', 'id,name'
  UNION ALL SELECT 'tblcancelrequests', 'date,id,relid,type'
  UNION ALL SELECT 'tblclientgroups', 'discountpercent,id'
  UNION ALL SELECT 'tblclients', 'address1,city,companyname,country,credit,currency,firstname,groupid,id,language'
  UNION ALL SELECT 'tblclients', 'lastname,state,status,tax_id,taxexempt'
  UNION ALL SELECT 'tblconfiguration', 'setting,value'
  UNION ALL SELECT 'tblcredit', 'amount,clientid,date,id,relid'
  UNION ALL SELECT 'tblcreditcards', 'expiry_date,pay_method_id'
  UNION ALL SELECT 'tblcurrencies', 'code,format,id,prefix,rate,suffix'
  UNION ALL SELECT 'tbldomains', 'domain,donotrenew,expirydate,firstpaymentamount,id,nextduedate,recurringamount'
  UNION ALL SELECT 'tbldomains', 'registrationdate,registrationperiod,status,userid'
  UNION ALL SELECT 'tblhosting', 'amount,billingcycle,domain,domainstatus,firstpaymentamount,id,nextduedate'
  UNION ALL SELECT 'tblhosting', 'overideautosuspend,overidesuspenduntil,packageid,qty,regdate,suspendreason,userid'
  UNION ALL SELECT 'tblhostingaddons', 'addonid,billingcycle,firstpaymentamount,hostingid,id,name,nextduedate,recurring'
  UNION ALL SELECT 'tblhostingaddons', 'regdate,status,tax,userid'
  UNION ALL SELECT 'tblinvoiceitems', 'amount,duedate,id,invoiceid,relid,type'
  UNION ALL SELECT 'tblinvoices', 'credit,date,datepaid,duedate,id,invoicenum,status,total,userid'
  UNION ALL SELECT 'tblorders', 'status,userid'
  UNION ALL SELECT 'tblpaymentgateways', 'gateway,order,setting,value'
  UNION ALL SELECT 'tblpaymethods', 'deleted_at,gateway_name,id,payment_type,userid'
  UNION ALL SELECT 'tblpricing', 'annually,biennially,currency,monthly,quarterly,relid,semiannually,triennially,type'
  UNION ALL SELECT 'tblpricing_bracket', 'floor,id,rel_id,rel_type,schema_type'
  UNION ALL SELECT 'tblproduct_upgrade_products', 'id,product_id,upgrade_product_id'
  UNION ALL SELECT 'tblproductgroups', 'id,name,order'
  UNION ALL SELECT 'tblproducts', 'gid,id,name,servertype,tax'
  UNION ALL SELECT 'tblservers', 'disabled,id,type'
  UNION ALL SELECT 'tbltax', 'country,id,level,name,state,taxrate'
  UNION ALL SELECT 'tblusage_items', 'id,included,metric,module,rel_id,rel_type'
  UNION ALL SELECT 'tblusers', 'email,email_verified_at,first_name,id,last_name,second_factor'
  UNION ALL SELECT 'tblusers_clients', 'auth_user_id,client_id,owner,permissions'
) w LEFT JOIN information_schema.columns i ON i.table_schema = DATABASE()
  AND i.table_name = w.name AND FIND_IN_SET(i.column_name, w.wanted)
GROUP BY w.name, w.wanted HAVING COUNT(i.column_name) < 1 + LENGTH(w.wanted) - LENGTH(REPLACE(w.wanted, ',', ''));
